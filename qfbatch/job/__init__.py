"""The job file: from YAML to frozen settings."""
