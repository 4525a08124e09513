"""The same batch as one would write it for a cron server: what the project is measured against."""
