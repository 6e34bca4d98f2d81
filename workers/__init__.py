"""The second entry point: Celery workers that score jobs. Imports service, never service.api."""
