use std.attention
