; Colours of `.sp`. Where two patterns meet, the later one holds.

; ---- names
(identifier) @variable
((identifier) @type
  (#match? @type "^[A-Z][A-Za-z0-9_]*$"))
((identifier) @constant.builtin
  (#any-of? @constant.builtin "true" "false" "inf" "all"))
((identifier) @variable.builtin
  (#any-of? @variable.builtin "elements" "tensors" "tensor" "layer" "out" "steps" "flops" "progress" "now"))
(name) @property
(role) @variable.builtin
(model_scope) @keyword

(member member: (name) @variable.member)
(pick (name) @variable.member)
(argument name: (name) @variable.parameter)
(field name: (name) @property)
(setting name: (name) @property)
(use_path (name) @module)
(use_list (name) @function)
(tensor name: (name) @property)
(column (name) @property)
(split name: (name) @property)

; ---- types
(type name: (name) @type.builtin)
(like_type name: (name) @type.builtin)
(source format: (identifier) @type.builtin)
((type name: (name) @type)
  (#match? @type "^[A-Z]"))

; ---- calls and definitions
(call function: (identifier) @function.call)
(call function: (member member: (name) @function.call))

(fn_item name: (identifier) @function)
(score_item name: (identifier) @function)
(mask_item name: (identifier) @function)
(schedule_item name: (identifier) @function)
(pattern_item name: (identifier) @function)
(penalty_item name: (identifier) @function)
(update_item name: (identifier) @function)
(handler name: (identifier) @function.method)

(const_item name: (identifier) @constant)
(axis_declaration name: (identifier) @type)
(binding name: (identifier) @variable.parameter)
(bind axis: (identifier) @type)
(family name: (identifier) @property)
(family index: (identifier) @variable.parameter)
(family axis: (identifier) @type)
(shape (identifier) @type)
(composite (identifier) @type)
(mask_axes (identifier) @type)
((composite (identifier) @variable)
  (#match? @variable "^[a-z_]"))

(model_item name: (identifier) @module)
(data_item name: (identifier) @module)
(group_item name: (identifier) @label)
(require_item name: (name) @label)
(penalize_item name: (name) @label)
(quantize_item name: (name) @label)
(train_item name: (identifier) @label)
(phase name: (name) @label)
(run_item name: (identifier) @label)
(target_item name: (identifier) @label)
(plan_item name: (identifier) @label)

(parameter name: (name) @variable.parameter)
(result_value name: (name) @variable.parameter)
(lambda (identifier) @variable.parameter)

; ---- literals
(number) @number
(percentage) @number
(unit) @type.builtin
(string) @string
(comment) @comment
(doc_comment) @comment.documentation

; ---- words
[
  "edition" "const" "axis" "model" "data" "group" "mask" "score" "schedule" "pattern" "penalty" "update" "require"
  "penalize" "quantize" "train" "run" "target" "plan" "expect" "axes" "from" "like" "state" "observe" "phase" "apply"
  "freeze" "sweep" "cost" "energy" "radial" "groups" "keep" "above" "then" "of" "per" "by" "on" "at" "via" "to" "over"
  "where" "min" "except" "every" "until" "when" "always" "first" "last" "multiple" "on_overlap"
] @keyword
(restart) @keyword
"steps" @variable.builtin
(tail_clause) @keyword
(joint) @keyword
"use" @keyword.import
"fn" @keyword.function
["if" "else"] @keyword.conditional
["for"] @keyword.repeat
(for_statement "in" @keyword.repeat)
(binding "in" @keyword)
(within "in" @keyword)
(plan_item "for" @keyword)
(parameter name: (name) @variable.parameter)

; ---- marks
["=" "->" "=>" "||" "&&" "<=" ">=" "==" "!=" "<" ">" "&" "+" "-" "*" "/" "^" "!" "@" ".."] @operator
(rest) @operator
["(" ")" "[" "]" "{" "}"] @punctuation.bracket
["," ":" "."] @punctuation.delimiter
