"""Programs that made the published numbers, and tutorials of the library."""

from dec_jax.runs.compile_cache import keep_programs

# Before one of them imports jax.
keep_programs()
