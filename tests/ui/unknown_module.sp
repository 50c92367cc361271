use std.atention
