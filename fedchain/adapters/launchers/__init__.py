"""Where the jobs of a sweep run: processes of this machine, joblib's workers, or submitit's executors."""
