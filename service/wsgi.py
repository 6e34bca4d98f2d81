"""The WSGI entry point, `service.wsgi:app`: one server process of service.serving."""

from service.app import create_api
from service.entry import settings_of_process
from service.process import settle

app = create_api(settings_of_process("api")).app
settle()
