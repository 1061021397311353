#!/bin/sh
# How general are the stages of a small network? (Yosinski et al. 2014, on CIFAR-10)
#
#     examples/transplants.sh CIFAR10 OUT
#     STEPS=1000 SEEDS=3 examples/transplants.sh CIFAR10 OUT
#
# CIFAR10 is a folder with train/ and test/, each with a folder of images a class. Every other class
# becomes the source A, the rest the target B. A network learns A from random weights; then its
# first n stages are transplanted, for every n, into networks that learn B for as long. The first
# line above takes about a quarter of an hour on one core; more steps and seeds say more. The answer
# is in OUT/transplants/report.html.
set -eu

images=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)

for split in train test; do
    half=a
    for class in "$images/$split"/*/; do
        mkdir -p "$out/$half/$split"
        [ -e "$out/$half/$split/$(basename "$class")" ] ||
            cp -R "$class" "$out/$half/$split/$(basename "$class")"
        if [ $half = a ]; then half=b; else half=a; fi
    done
done

alike="--backbone timm/test_resnet --image-size 32 --steps ${STEPS:-300} --seeds ${SEEDS:-1}"
headstart train "$out/a" $alike --weights random --strategy baseB --out "$out/source"
headstart compare "$out/b" $alike --weights "$out/source/best/weights.safetensors" \
    --strategies transplant --out "$out/transplants"
