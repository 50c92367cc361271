const WIDTHS = [64, 32]
const WIDE = WIDTHS + 1
const FIRST = WIDTHS[2]
