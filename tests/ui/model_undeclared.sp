model net from safetensors "net.safetensors"
