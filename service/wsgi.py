"""The WSGI entry point: `granian --interface wsgi service.wsgi:app`."""

from service.app import create_api
from service.config import Settings
from service.process import settle

app = create_api(Settings.from_environment()).app
settle()
