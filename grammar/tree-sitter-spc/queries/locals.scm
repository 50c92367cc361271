; Scopes, definitions and references. Axes, models, functions and groups belong to the file.
(source_file) @local.scope
(fn_item) @local.scope
(score_item) @local.scope
(mask_item) @local.scope
(schedule_item) @local.scope
(pattern_item) @local.scope
(penalty_item) @local.scope
(update_item) @local.scope
(handler) @local.scope
(group_item) @local.scope
(train_body) @local.scope
(for_statement) @local.scope
(lambda) @local.scope
(argument) @local.scope

(axis_declaration name: (identifier) @local.definition.type)
(const_item name: (identifier) @local.definition.constant)
(model_item name: (identifier) @local.definition.namespace)
(data_item name: (identifier) @local.definition.namespace)
(fn_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(score_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(mask_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(schedule_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(pattern_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(penalty_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(update_item name: (identifier) @local.definition.function (#set! "definition.function.scope" "parent"))
(group_item name: (identifier) @local.definition (#set! "definition.scope" "parent"))
(require_item name: (name) @local.definition)
(penalize_item name: (name) @local.definition)
(target_item name: (identifier) @local.definition)
(use_list (name) @local.definition.import)

(parameter name: (name) @local.definition.parameter)
(result_value name: (name) @local.definition.var)
(bind index: (identifier) @local.definition.var)
(binding name: (identifier) @local.definition.var)
(for_statement index: (identifier) @local.definition.var)
(lambda (identifier) @local.definition.parameter)
(place name: (identifier) @local.definition.var)
(tuple_pattern (identifier) @local.definition.var)
(state_statement name: (identifier) @local.definition.var)
(mask_hook name: (identifier) @local.definition.var)

(identifier) @local.reference
