//! `#line` directives that lead from a kernel to the words of the program that it computes.
use crate::CudaModule;
use spc_ir::NodeId;

/// A directive of its own line, as this module writes them.
fn is_directive(line: &str) -> bool {
    line.starts_with("#line ")
}

impl CudaModule {
    /// The text with each kernel's definition attributed to a file and a line of the program, where `place` knows them.
    /// Templates, and all that follows a kernel, are lines of `kernels.cu` as before.
    pub fn text_with_lines(&self, place: &dyn Fn(NodeId) -> Option<(String, usize)>) -> String {
        let (mut out, mut count, mut current, mut inside) = (String::new(), 0usize, None, false);
        let mut push = |line: &str| {
            out.push_str(line);
            out.push('\n');
            count += 1;
            count
        };
        for line in self.text.lines() {
            if let Some(rest) = line.strip_prefix("// kernel ") {
                let name = rest.split(',').next().unwrap_or_default();
                let kernel = self.kernels.iter().find(|k| k.name == name);
                current = kernel.and_then(|k| place(k.node));
            }
            if line.starts_with("extern \"C\"")
                && let Some((file, number)) = current.take()
                && !file.contains(['"', '\\', '\n'])
            {
                push(&format!("#line {number} \"{file}\""));
                inside = true;
            }
            let written = push(line);
            if inside && line == "}" {
                inside = false;
                push(&format!("#line {} \"kernels.cu\"", written + 2));
            }
        }
        out
    }
}

/// A text as it was before [`CudaModule::text_with_lines`].
pub fn without_lines(text: &str) -> String {
    text.lines().filter(|l| !is_directive(l)).flat_map(|l| [l, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit;
    use spc_ir::{Graph, Plan};

    #[test]
    fn kernels_are_attributed_and_the_rest_keeps_its_numbers() {
        let text = "graph \"f\" {\n  %0 = input \"x\" : f32[B=3]\n  %1 = map (exp a0) at [0] (%0) : f32[B=3]\n  \
                    %2 = map (neg a0) at [0] (%1) : f32[B=3]\n  output \"y\" = %2\n}\n";
        let graph = Graph::parse(text).unwrap();
        let module = emit(&graph, &Plan::all_dense(&graph, "cuda", "csr").unwrap()).unwrap();
        let place = |n: NodeId| (n.0 == 1).then(|| ("net.sp".to_string(), 7));
        let text = module.text_with_lines(&place);
        assert_eq!(without_lines(&text), module.text);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|l| *l == "#line 7 \"net.sp\"").unwrap();
        assert!(lines[at + 1].starts_with("extern \"C\" __global__ void __launch_bounds__(128) map_1("));
        let back = lines.iter().position(|l| l.ends_with("\"kernels.cu\"")).unwrap();
        assert_eq!((lines[back - 1], lines[back]), ("}", format!("#line {} \"kernels.cu\"", back + 2).as_str()));
        assert_eq!(lines.iter().filter(|l| is_directive(l)).count(), 2, "the other kernel's place is not known");
        assert_eq!(module.text_with_lines(&|_| Some(("a\"b".into(), 1))), module.text);
    }
}
