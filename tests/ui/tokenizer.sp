data d from text "d.txt" { ids = bpe(net, length: 8) }
data e from text "e.txt" { ids, real = bpe("tokenizer.json", length: 8) }
data g from text "g.txt" { ids = wordpice("tokenizer.json", length: 8) }
