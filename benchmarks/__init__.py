"""What the package costs, measured: each module is one benchmark, ``python -m benchmarks`` runs them all."""
