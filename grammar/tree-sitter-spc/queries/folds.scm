; What can be folded: blocks in braces, signatures and lists over several lines, runs of documentation.
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
  (if)
] @fold

(pattern_item) @fold
(require_item) @fold
(penalize_item) @fold
(doc_comment)+ @fold
(comment)+ @fold
