//! The one list of all node types with their fields and variants. Walks over the tree are generated from it.
//!
//! `nodes!(words, kinds, fields, variants)` calls these macros with: structs that read as one word, structs of a `kind` and
//! a `span`, all other structs, and enums with payloads. The macros match without `..`, so that a new field cannot be
//! forgotten.

macro_rules! nodes {
    ($words:ident, $kinds:ident, $fields:ident, $variants:ident) => {
        $words! {
            Doc { text, span }
            Ident { name, span }
            Text { value, span }
            Num { text, value, int, span }
            Pct { text, num, den, span }
        }
        $kinds! {
            Lhs { kind, span }
            Type { kind, span }
            Dim { kind, span }
            Amount { kind, span }
            Scope { kind, span }
            Expr { kind, span }
            Idx { kind, span }
        }
        $fields! {
            Item { docs, kind, span }
            EditionItem { number }
            UseItem { path, names, path_span }
            ConstItem { name, value }
            AxisItem { decls }
            ModelItem { name, source, members }
            Source { format, path, span }
            AxesBlock { decls, span }
            Family { name, index, axis, path, members, span }
            Split { name, fields, span }
            Column { names, value, span }
            Field { name, eq, value, span }
            FnItem { name, sig }
            GroupItem { name, binder, group, cost, energy, on_overlap }
            MaskItem { name, params, value }
            ScoreItem { name, has_params, sig }
            ScheduleItem { name, params, binder, value }
            PatternItem { name, params, sentence }
            RequireItem { name, what }
            RunItem { name, fields }
            TargetItem { name, value, fields }
            PlanItem { name, target, fields }
            ExpectItem { value }
            Term { value, group, guard, span }
            PenalizeItem { name, terms, clauses }
            QuantizeItem { name, what, to, clauses }
            PenaltyItem { name, params, kind, body }
            UpdateItem { name, params, hooks }
            MaskHook { name, value, timing, span }
            Observe { name, value, span }
            Handler { name, params, results, every, body, span }
            TrainItem { name, body }
            Phase { name, share, body, span }
            Apply { list, span }
            Applied { what, via, span }
            Freeze { what, span }
            Sweep { name, value, span }
            Setting { name, value, span }
            Param { name, ty, index, default, span }
            Results { list, tuple, span }
            ResultDecl { name, index, ty, span }
            Bind { index, axis, span }
            Block { stmts, span }
            ForStmt { index, over, body, span }
            StateStmt { name, ty, value, timing, span }
            Assign { lhs, value, span }
            Callable { params, results, sizes, body }
            TensorDecl { name, ty, value, span }
            AxisDecl { name, value, span }
            Sentence { amount, group, clauses, then, span }
            GroupRef { group, of, span }
            Clauses { per, floor, by, on, except, at, every, via, always, multiple, on_overlap, tail }
            Per { scope, span }
            Floor { amount, scope, span }
            By { joint, score, span }
            Every { count, unit, until, span }
            Always { end, count, span }
            Selector { what, except, span }
            If { arms, otherwise }
            IfArm { cond, value, span }
            Arg { label, value, over, by, guard, within, per, span }
            Binding { name, within, span }
        }
        $variants! {
            ItemKind {
                Edition(i), Use(i), Const(i), Axis(i), Model(i), Data(i), Fn(i), Group(i), Mask(i), Score(i), Schedule(i),
                Pattern(i), Penalty(i), Update(i), Require(i), Penalize(i), Quantize(i), Train(i), Run(i), Target(i), Plan(i),
                Expect(i),
            }
            Member { Axes(m), Family(m), Tensor(m), Split(m), Column(m) }
            Require { Sentence(s), Sugar { pattern, clauses } }
            PenaltyBody { Hooks(b), Terms(b), Expr(b) }
            Hook { Mask(h), State(h), Observe(h), Handler(h), Assign(h) }
            TrainStmt { Phase(s), Apply(s), Freeze(s), Restart(s), Sweep(s), Setting(s), Assign(s) }
            Body { Block(b), Expr(b) }
            Stmt { For(s), State(s), Assign(s) }
            Timing { When(t), At(t), Every(t) }
            LhsKind { Tuple(l), Name { name, index } }
            TypeKind { Named { name, mask_axes, shape }, Record(r), Like { name, of } }
            DimKind { Rest, Composite(c), Axis(a), Size(s) }
            AmountKind { Plain(a), Of { part, of }, Above(a) }
            ScopeKind { Model, Tensor, Layer, Expr(e) }
            ShareOf { Count(c), Name(n) }
            IdxKind { Rest, Composite(c), Expr(e) }
            ExprKind {
                Num(e), Pct(e), Qty { num, unit }, Str(e), Name(e), Tuple(e), List(e), If(e), Lambda { params, body },
                Call { callee, args }, Index { base, idx }, Slice { base, args }, Member { base, name }, Star { base },
                Pick { base, names }, Unary { op, arg }, Binary { op, op_span, lhs, rhs }, Range { from, to },
                Arrow { from, to }, Share { part, of }, Keep(e),
            }
        }
    };
}

pub(crate) use nodes;
