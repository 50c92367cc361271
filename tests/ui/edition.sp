edition 2
