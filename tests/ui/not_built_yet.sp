model other from gguf "other.gguf" { axes { I = 32 } z: f32[I] }
model sound from onnx "sound.onnx" { axes { I = 32 } z: bf16[I] }
