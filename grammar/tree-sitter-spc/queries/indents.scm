; Lines inside brackets are one step further in than the line that opens them.
[
  (members)
  (axes)
  (record_type)
  (block)
  (hooks)
  (train_body)
  (fields)
  (use_list)
  (parameters)
  (arguments)
  (list)
  (paren)
  (tuple)
  (if)
] @indent.begin

["}" ")" "]"] @indent.branch
["}" ")" "]"] @indent.end
