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
