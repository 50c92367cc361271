/**
 * Tree-sitter grammar of `.sp`. It accepts what `grammar/spc.pest` accepts; `tests/suite/grammars.rs` compares the two.
 *
 * - A label, a member and whatever follows a dot may be any word, reserved or not. `src/scanner.c` tells those words from
 *   names by what stands after them, and reads numbers, because `60 MiB` is one token and `64 epochs: 3` is not.
 * - A call, an index or a member sticks to what it follows, so `(` and `[` exist twice: with and without a blank before.
 * - Words such as `keep` and `every` are keywords only in their place. Where a name may stand too, `_id` and `_lhs_id` admit
 *   them as names.
 *
 * After a change: `tree-sitter generate` (see `regenerate.sh`), which writes everything below `src/` but `scanner.c`.
 */

const RESERVED = [
  'edition', 'use', 'const', 'axis', 'model', 'data', 'fn', 'group', 'mask', 'score', 'schedule', 'pattern', 'penalty',
  'update', 'require', 'penalize', 'quantize', 'train', 'run', 'target', 'plan', 'expect',
  'of', 'per', 'by', 'on', 'at', 'via', 'to', 'over', 'in', 'if', 'else', 'for', 'where',
];

// Clauses whose first word is not reserved. After `require keep` they may be an amount.
const CLAUSES = ['min', 'except', 'every', 'always', 'multiple', 'on_overlap', 'ragged', 'pad'];
const HANDLERS = ['forward', 'backward', 'grad', 'step', 'after', 'refresh', 'value', 'prox'];

// Loose to tight.
const P = { arrow: 1, range: 2, or: 3, and: 4, compare: 5, join: 6, add: 7, mul: 8, unary: 9, pow: 10, post: 11 };

const OPERATORS = [
  ['->', P.arrow], ['..', P.range], ['||', P.or], ['&&', P.and], ['<=', P.compare], ['>=', P.compare], ['==', P.compare],
  ['!=', P.compare], ['<', P.compare], ['>', P.compare], ['&', P.join], ['+', P.add], ['-', P.add], ['*', P.mul],
  ['/', P.mul],
];

const list = (rule) => seq(rule, repeat(seq(',', rule)));
const lists = (rule) => seq(list(rule), optional(','));
const sticky = (mark) => token.immediate(prec(1, mark));

/** Operators over operands; `operand` is what a chain is made of, `self` the chain. */
const unary = ($, self) => prec(P.unary, seq(field('operator', choice('-', '!')), field('operand', self)));
const binary = ($, self) => choice(
  ...OPERATORS.map(([op, power]) =>
    prec.left(power, seq(field('left', self), field('operator', op), field('right', self)))),
  prec.right(P.pow, seq(field('left', self), field('operator', '^'), field('right', self))),
);

/** What may follow a base without a blank. */
const call = ($, base) => prec(P.post, seq(field('function', base), field('arguments', $.arguments)));
const index = ($, base) => prec(P.post, seq(field('base', base), $._index));
const slice = ($, base) => prec(P.post, seq(field('base', base), token.immediate('@'), '(', list($.argument), ')'));
const member = ($, base) => prec(P.post, seq(field('base', base), token.immediate('.'), field('member', alias($._dot_name, $.name))));
const star = ($, base) => prec(P.post, seq(field('base', base), token.immediate('.'), token.immediate('*')));
const pick = ($, base) =>
  prec(P.post, seq(field('base', base), token.immediate('.'), token.immediate('{'), lists(alias($._name, $.name)), '}'));

module.exports = grammar({
  name: 'spc',

  externals: $ => [
    $._label_name, // a word before `:`
    $._field_name, // a word before `:` or `=`
    $._member_name, // a word before `=`, `,` or `{`
    $._name, // any word
    $._dot_name, // any word, without a blank before it
    $._integer,
    $._float,
    $.percentage,
    $._quantity_number, // a number before a unit that belongs to it
    $.unit,
    $._joint, // `joint` with no score after it
    $._joint_with, // `joint` before a score
    $._item_mark, // before an item word in column 1
    $._never,
    $._recovering,
  ],

  extras: $ => [/[ \t\r\n]/, $.comment, $.doc_comment, $._never],
  word: $ => $.identifier,
  reserved: { global: $ => RESERVED },
  inline: $ => [$._index, $._label, $._value],
  supertypes: $ => [$.item],

  // What a second word of look-ahead decides. Where both readings stand, `prec.dynamic` prefers the compiler's.
  conflicts: $ => [
    [$._id, $.keep], // `f(keep - 1)` or `f(keep -1 of x)`
    [$._id, $.above], // `keep above - 1 of x`
    [$.amount], // `keep 2 of 4 of x` or `keep 2 of x of net`
    [$._primary, $.range], // `10%..80% of steps` or `10%..x`
    [$._primary, $.lambda], // `(a, b)` or `(a, b) => a`
    [$.over], // `f(a over i, j)` or `f(a over i, j: 2)`
    [$.always_clause], // `always first 1, last 4` or `always first 1, x`, in arguments
    [$.state_statement], // `state x = a every 10` or `every = 3` on the next line
    [$.mask_hook],
    [$.every_clause],
  ],

  rules: {
    source_file: $ => repeat(seq(optional($._item_mark), $.item)),

    item: $ => choice(
      $.edition_item, $.use_item, $.const_item, $.axis_item, $.model_item, $.data_item, $.fn_item, $.group_item,
      $.mask_item, $.score_item, $.schedule_item, $.pattern_item, $.penalty_item, $.update_item, $.require_item,
      $.penalize_item, $.quantize_item, $.train_item, $.run_item, $.target_item, $.plan_item, $.expect_item,
    ),

    // ---- words, comments, literals
    identifier: $ => /[A-Za-z_][A-Za-z0-9_]*/,
    doc_comment: $ => token(choice(/\/\/\/([^\/\r\n][^\r\n]*)?/, /\/\/![^\r\n]*/)),
    comment: $ => token(/\/\/([^\/!\r\n][^\r\n]*|\/\/[^\r\n]*)?/),
    string: $ => /"(\\[^\r\n]|[^"\\\r\n])*"/,
    number: $ => choice($._integer, $._float),
    quantity: $ => seq(alias($._quantity_number, $.number), $.unit),
    _id: $ => choice($.identifier, alias(choice('keep', 'above', 'first', 'last', ...CLAUSES), $.identifier)),

    // ---- small items
    edition_item: $ => seq('edition', $.number),
    use_item: $ => seq('use', field('path', $.use_path)),
    use_path: $ => seq(
      alias($._name, $.name),
      repeat(seq(token.immediate('.'), alias($._dot_name, $.name))),
      optional(seq(token.immediate('.'), $.use_list)),
    ),
    use_list: $ => seq(token.immediate('{'), lists(alias($._name, $.name)), '}'),
    const_item: $ => seq('const', field('name', $.identifier), '=', field('value', $._value)),
    axis_item: $ => seq('axis', list($.axis_declaration)),
    axis_declaration: $ => prec.right(seq(field('name', $.identifier), optional(seq('=', field('value', $._expr))))),
    expect_item: $ => seq('expect', $._expr),

    // ---- models and data
    model_item: $ => seq('model', field('name', $.identifier), optional($.source), optional($.members)),
    data_item: $ => seq('data', field('name', $.identifier), optional($.source), optional($.members)),
    source: $ => seq('from', field('format', $.identifier), field('path', $.string)),
    members: $ => seq('{', repeat(choice($.axes, $.family, $.tensor, $.split, $.column)), '}'),
    axes: $ => seq('axes', '{', lists($.axis_declaration), '}'),
    family: $ => seq(
      field('name', $.identifier), choice('[', sticky('[')), field('index', $.identifier), ':', field('axis', $.identifier), ']',
      optional(seq('=', field('stored', $.string))), field('members', $.members),
    ),
    tensor: $ => seq(
      field('name', alias($._label_name, $.name)), ':', field('type', $._type), optional(seq('=', field('value', $._expr))),
    ),
    split: $ => seq(field('name', alias($._member_name, $.name)), $.fields),
    column: $ => seq(
      alias($._member_name, $.name), repeat(seq(',', alias($._name, $.name))), '=', field('value', $._expr),
    ),

    // ---- types
    _type: $ => choice($.record_type, $.like_type, $.type),
    type: $ => prec.right(seq(field('name', alias($._name, $.name)), optional($.mask_axes), optional($.shape))),
    mask_axes: $ => seq(sticky('('), list($.identifier), ')'),
    like_type: $ => seq(field('name', alias($._name, $.name)), 'like', $.identifier),
    shape: $ => seq(choice('[', sticky('[')), list(choice($.rest, $.composite, $.identifier, alias($._integer, $.number))), ']'),
    rest: $ => '..',
    composite: $ => seq('(', $._id, repeat1($._id), ')'),
    record_type: $ => seq('{', lists($.tensor), '}'),

    // ---- functions
    parameters: $ => seq('(', optional(lists($.parameter)), ')'),
    parameter: $ => seq(
      field('name', alias($._name, $.name)), optional($._index), optional(seq(':', field('type', $._type))),
      optional(seq('=', field('default', $._value))),
    ),
    result: $ => seq('->', choice($.result_value, seq('(', lists($.result_value), ')'))),
    result_value: $ => seq(field('name', alias($._name, $.name)), optional($._index), optional(seq(':', field('type', $._type)))),
    sizes: $ => seq('where', list($.axis_declaration)),
    _body: $ => choice(field('body', $.block), seq('=', field('body', $._expr))),
    block: $ => seq('{', repeat($._statement), '}'),
    fn_item: $ => seq('fn', field('name', $.identifier), $.parameters, optional($.result), optional($.sizes), $._body),
    score_item: $ => seq(
      'score', field('name', $.identifier), optional($.parameters), optional($.result), optional($.sizes), $._body),
    mask_item: $ => seq('mask', field('name', $.identifier), $.parameters, '=', field('body', $._expr)),
    schedule_item: $ => seq(
      'schedule', field('name', $.identifier), optional(choice($.parameters, $.binder)), '=', field('body', $._expr)),

    _statement: $ => choice($.for_statement, $.state_statement, $.assignment),
    for_statement: $ => seq('for', field('index', $.identifier), 'in', field('over', $._expr), field('body', $.block)),
    state_statement: $ => seq(
      'state', field('name', $.identifier), optional(seq(':', field('type', $._type))), '=', field('value', $._expr),
      optional(choice($.when_clause, $.at_clause, $.every_clause)),
    ),
    assignment: $ => seq(field('left', choice($.tuple_pattern, $.place)), '=', field('value', $._expr)),
    place: $ => seq(field('name', $._lhs_id), optional($._index)),
    _lhs_id: $ => choice(
      $._id,
      alias(choice('when', 'until', 'state', 'observe', 'phase', 'apply', 'freeze', 'restart', 'sweep', ...HANDLERS),
        $.identifier),
    ),
    tuple_pattern: $ => seq('(', list($.identifier), ')'),
    when_clause: $ => seq('when', $._expr),

    // ---- the sentence
    sentence: $ => prec.right(seq($.keep, repeat(seq('then', $.keep)))),
    keep: $ => prec.right(seq('keep', field('amount', $._amount), 'of', $._group, repeat($._clause))),
    _amount: $ => choice($.above, $.amount),
    amount: $ => seq($._expr, optional(seq('of', $.out_of))),
    above: $ => seq('above', $._expr),
    out_of: $ => prec.dynamic(1, choice($.number, $._id)),
    _group: $ => prec.right(seq(field('group', $._expr), optional(seq('of', field('of', $._expr))))),
    _clause: $ => choice(
      $.overlap_clause, $.per_clause, $.min_clause, $.by_clause, $.on_clause, $.except_clause, $.at_clause, $.every_clause,
      $.via_clause, $.always_clause, $.multiple_clause, $.tail_clause,
    ),
    per_clause: $ => seq('per', $._scope),
    _scope: $ => choice(alias('model', $.model_scope), $._expr),
    min_clause: $ => seq('min', $._expr, 'per', $._scope),
    by_clause: $ => seq('by', choice(alias($._joint, $.joint), seq(alias($._joint_with, $.joint), $._expr), $._expr)),
    on_clause: $ => seq('on', $._expr),
    except_clause: $ => seq('except', $._expr),
    at_clause: $ => seq('at', $._time),
    _time: $ => choice($.part_of_run, $._expr),
    part_of_run: $ => seq($.percentage, 'of', 'steps'),
    every_clause: $ => seq('every', $._expr, optional($.unit), optional(seq('until', $._time))),
    via_clause: $ => seq('via', $._expr),
    always_clause: $ => seq('always', $._kept, repeat(seq(',', $._kept))),
    _kept: $ => seq(choice('first', 'last'), $._expr),
    multiple_clause: $ => seq('multiple', $._expr),
    overlap_clause: $ => seq('on_overlap', $.identifier),
    tail_clause: $ => choice('ragged', 'pad'),

    group_item: $ => seq(
      'group', field('name', $.identifier), optional($.binder), '=', $._group, repeat(choice($.weight, $.overlap_clause))),
    binder: $ => seq(choice('[', sticky('[')), list($.bind), ']'),
    bind: $ => seq(field('index', $.identifier), optional(seq(':', field('axis', $.identifier)))),
    weight: $ => seq(choice('cost', 'energy'), ':', $._expr),
    pattern_item: $ => seq('pattern', field('name', $.identifier), $.parameters, '=', $.sentence),
    _label: $ => seq(field('name', alias($._label_name, $.name)), ':'),
    require_item: $ => seq('require', optional($._label), choice($.sentence, $.sugar)),
    sugar: $ => seq($._expr, repeat($._clause)),
    penalize_item: $ => seq('penalize', optional($._label), $.term, repeat(seq('then', $.term)), repeat($._clause)),
    term: $ => prec.right(seq(field('penalty', $._expr), 'of', $._group, optional($.guard))),
    guard: $ => seq('where', $._expr),
    quantize_item: $ => seq(
      'quantize', optional($._label), field('selector', $._expr), optional($.except_clause), 'to', field('to', $._expr),
      repeat($._clause),
    ),

    // ---- methods
    penalty_item: $ => seq(
      'penalty', field('name', $.identifier), $.parameters, optional($.kind),
      choice($.hooks, seq('=', choice(seq($.term, repeat(seq('then', $.term))), $._expr))),
    ),
    kind: $ => choice('radial', seq('of', 'groups')),
    update_item: $ => seq('update', field('name', $.identifier), $.parameters, $.hooks),
    hooks: $ => seq('{', repeat(choice($.mask_hook, $.state_statement, $.observe_hook, $.handler, $.assignment)), '}'),
    mask_hook: $ => seq(
      'mask', field('name', $.identifier), '=', field('value', $._expr), optional(choice($.at_clause, $.every_clause))),
    observe_hook: $ => seq('observe', field('name', $.identifier), '=', field('value', $._expr)),
    handler: $ => seq(
      field('name', alias(choice(...HANDLERS), $.identifier)), $.parameters, optional($.result), optional($.every_clause),
      $._body,
    ),

    // ---- what happens in time, where it runs, what is promised
    train_item: $ => seq('train', field('name', $.identifier), $.train_body),
    train_body: $ => seq('{', repeat(choice(
      $.phase, $.apply, $.freeze, $.restart, $.sweep, $.setting, $.assignment)), '}'),
    setting: $ => seq(field('name', alias($._label_name, $.name)), ':', field('value', $._value)),
    phase: $ => seq('phase', field('name', alias($._name, $.name)), $.percentage, $.train_body),
    apply: $ => seq('apply', $.applied, repeat(seq(',', $.applied))),
    applied: $ => seq($._expr, optional($.via_clause)),
    freeze: $ => seq('freeze', $.identifier),
    restart: $ => 'restart',
    sweep: $ => seq('sweep', field('name', $.identifier), '=', field('value', $._expr)),
    run_item: $ => seq('run', field('name', $.identifier), $.fields),
    target_item: $ => seq('target', field('name', $.identifier), '=', $._expr, optional($.fields)),
    plan_item: $ => seq('plan', field('name', $.identifier), optional(seq('for', field('for', $.identifier))), $.fields),
    fields: $ => seq('{', repeat(seq($.field, optional(','))), '}'),
    field: $ => seq(field('name', alias($._field_name, $.name)), choice(':', '='), field('value', $._value)),

    // ---- expressions
    _expr: $ => choice($.unary, $.binary, $._post),
    unary: $ => unary($, $._expr),
    binary: $ => binary($, $._expr),
    _post: $ => choice($._primary, $._if_post),
    _primary: $ => choice(
      $.call, $.index, $.slice, $.member, $.star, $.pick, $.paren, $.tuple, $.list, $.string, $.percentage, $.quantity,
      $.number, $.role, $._id,
    ),
    role: $ => 'in',
    call: $ => call($, $._primary),
    index: $ => index($, $._primary),
    slice: $ => slice($, $._primary),
    member: $ => member($, $._primary),
    star: $ => star($, $._primary),
    pick: $ => pick($, $._primary),
    arguments: $ => seq(sticky('('), optional(lists($.argument)), ')'),
    argument: $ => seq(optional($._label), choice(
      $.sentence, $.lambda, $.share,
      seq($._expr, optional($.over), optional($.arg_by), optional($.guard), optional($.within), optional($.per_clause)),
    )),
    over: $ => prec.dynamic(1, seq('over', list($.binding))),
    binding: $ => prec.right(seq(field('name', $.identifier), optional(seq('in', $._expr)))),
    arg_by: $ => seq('by', $._expr),
    within: $ => seq('in', $._expr),
    _value: $ => choice($.lambda, $.share, $._expr),
    share: $ => seq(choice($.range, $.percentage, $.number), 'of', $.out_of),
    range: $ => seq($.percentage, '..', $.percentage),
    _index: $ => seq(sticky('['), list(choice($.rest, $.composite, $._expr)), ']'),
    lambda: $ => seq('(', list($._id), ')', '=>', field('body', $._expr)),
    paren: $ => seq('(', $._expr, ')'),
    tuple: $ => seq('(', $._expr, repeat1(seq(',', $._expr)), optional(','), ')'),
    list: $ => seq('[', optional(list($._expr)), optional(','), ']'),

    // An `if`, and calls that stick to its last brace. They stand apart because no `if` starts in the condition of an `if`.
    _if_post: $ => choice(
      $.if, alias($._if_call, $.call), alias($._if_index, $.index), alias($._if_slice, $.slice), alias($._if_member, $.member),
      alias($._if_star, $.star), alias($._if_pick, $.pick),
    ),
    _if_call: $ => call($, $._if_post),
    _if_index: $ => index($, $._if_post),
    _if_slice: $ => slice($, $._if_post),
    _if_member: $ => member($, $._if_post),
    _if_star: $ => star($, $._if_post),
    _if_pick: $ => pick($, $._if_post),
    if: $ => seq($._if_arm, repeat(seq('else', $._if_arm)), 'else', '{', field('otherwise', $._expr), '}'),
    _if_arm: $ => seq('if', field('condition', $._condition), '{', field('then', $._expr), '}'),
    _condition: $ => choice(alias($._condition_unary, $.unary), alias($._condition_binary, $.binary), $._primary),
    _condition_unary: $ => unary($, $._condition),
    _condition_binary: $ => binary($, $._condition),
  },
});
