#!/bin/sh
# Build an environment for each peer: sh benchmarks/peers/setup.sh ENVS [PEER ...]
#
#   PYTHON   the interpreter, python3 where not given
#   TORCH    what to install as PyTorch; builds for CPUs only are the smaller download: set
#            PIP_INDEX_URL or PIP_EXTRA_INDEX_URL as your site does
#   REUSE    a folder of environments that are there already, by the peers' names, to be linked
#
# llama.cpp is compiled here for this very CPU (minutes; needs a C++ compiler and cmake).
set -eu
envs=${1:?usage: setup.sh ENVS [llamacpp] [ctranslate2] [openvino] [optimum] [pytorch]}
shift
[ $# -gt 0 ] || set -- llamacpp ctranslate2 openvino optimum pytorch
torch=${TORCH:-torch>=2.4}
mkdir -p "$envs"

for peer; do
    case $peer in
        llamacpp | ctranslate2 | openvino | optimum | pytorch) ;;
        *) echo "setup.sh: no peer named $peer" >&2; exit 2 ;;
    esac
    if [ -x "${REUSE:-}/$peer/bin/python" ] && [ ! -e "$envs/$peer" ]; then
        ln -s "$(cd "$REUSE/$peer" && pwd)" "$envs/$peer"
        echo "$peer: $envs/$peer, linked"
        continue
    fi
    "${PYTHON:-python3}" -m venv "$envs/$peer"
    pip="$envs/$peer/bin/python -m pip --disable-pip-version-check --quiet"
    case $peer in
        llamacpp)
            $pip install gguf safetensors numpy
            CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" \
                $pip install --no-binary llama-cpp-python llama-cpp-python
            ;;
        ctranslate2) $pip install ctranslate2 safetensors numpy ;;
        openvino)
            $pip install "$torch" "optimum-intel[openvino]" nncf
            # it is asked for, not used, and a build for other versions of torch breaks the import
            $pip uninstall --yes torchvision
            ;;
        optimum) $pip install "$torch" "optimum-onnx[onnxruntime]" ;;
        pytorch) $pip install "$torch" "transformers>=5" safetensors ;;
    esac
    echo "$peer: $envs/$peer"
done
