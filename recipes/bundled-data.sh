#!/bin/sh
# The tables that recipes/bundled.toml is trained on, from DFDC's face crops: forgeries of its reals, and compressed copies.
#   sh recipes/bundled-data.sh TRAIN.parquet VAL.parquet OUT [PHOTOS]
# PHOTOS: reals of another kind, which bundled-restore.toml takes as well; 597 CelebA photos, none of those that are tested on, by
#   unmask prepare folders FOLDER PHOTOS --margin 0.82 --shift-y 0.05           (FOLDER/real/*.jpg)
# About an hour and a half on two cores. What is there already is not made again.
set -eu
train=$1 val=$2 out=$3 photos=${4-}
forgeries="face-swap reenact autoencoder mouth-render self-blend"

# Exit code 1 says that in some crops no face was found: they are left out.
unmask forge "$train" "$out/few" --limit 3000 --method $forgeries || [ $? -eq 1 ]
unmask forge "$train" "$out/few" --limit 3000 --method given || [ $? -eq 1 ]
unmask forge "$train" "$out/many" --limit 8000 --seed 1 --method face-swap self-blend || [ $? -eq 1 ]
unmask forge "$val" "$out/val" --limit 300 --models "$out/few" --method $forgeries || [ $? -eq 1 ]
for name in real given self-blend; do
    unmask degrade "$out/few/$name.parquet" "$out/h264/$name" --quality h264-32
done
if [ -n "$photos" ]; then
    for seed in 0 1 2; do
        unmask forge "$photos" "$out/photos/$seed" --seed "$seed" --models "$out/few" --method $forgeries || [ $? -eq 1 ]
    done
    for name in real self-blend; do
        unmask degrade "$out/photos/0/$name.parquet" "$out/photos/h264/$name" --quality h264-32
    done
fi
