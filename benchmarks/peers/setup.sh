#!/bin/sh
# Build an environment for each peer: sh benchmarks/peers/setup.sh ENVS [pytorch] [llamacpp]
# PYTHON names the interpreter. PyTorch for CPUs only, where your index offers it, is the smaller
# download: set PIP_INDEX_URL or PIP_EXTRA_INDEX_URL as your site does. llama.cpp is compiled here
# for this very CPU (minutes; needs a C++ compiler and cmake).
set -eu
envs=${1:?usage: setup.sh ENVS [pytorch] [llamacpp]}
shift
[ $# -gt 0 ] || set -- pytorch llamacpp

for peer; do
    "${PYTHON:-python3}" -m venv "$envs/$peer"
    pip="$envs/$peer/bin/python -m pip --disable-pip-version-check install --quiet"
    case $peer in
        pytorch) $pip "torch>=2.4" "transformers>=5" safetensors ;;
        llamacpp)
            $pip gguf safetensors numpy
            CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" $pip --no-binary llama-cpp-python llama-cpp-python
            ;;
        *) echo "setup.sh: no peer named $peer" >&2; exit 2 ;;
    esac
    echo "$peer: $envs/$peer"
done
