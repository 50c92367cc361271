//! Operators of the syntax as operators on elements.
use spc_ir::BinFn;
use spc_syntax::ast::BinaryOp;

/// The operator on elements; none for `&`, which joins groups.
pub(crate) fn bin_fn(op: BinaryOp) -> Option<BinFn> {
    Some(match op {
        BinaryOp::Or => BinFn::Or,
        BinaryOp::And => BinFn::And,
        BinaryOp::Eq => BinFn::Eq,
        BinaryOp::Ne => BinFn::Ne,
        BinaryOp::Lt => BinFn::Lt,
        BinaryOp::Le => BinFn::Le,
        BinaryOp::Gt => BinFn::Gt,
        BinaryOp::Ge => BinFn::Ge,
        BinaryOp::Add => BinFn::Add,
        BinaryOp::Sub => BinFn::Sub,
        BinaryOp::Mul => BinFn::Mul,
        BinaryOp::Div => BinFn::Div,
        BinaryOp::Pow => BinFn::Pow,
        BinaryOp::Join => return None,
    })
}
