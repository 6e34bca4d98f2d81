"""The WSGI entry point, `service.wsgi:app`: one server process of service.serving."""

from service.app import create_api
from service.entry import settings_of_process, wrong_settings_end_the_process
from service.images.reading import read_apart
from service.metrics import begin_server_process
from service.process import settle

begin_server_process()
with wrong_settings_end_the_process():
    app = create_api(settings_of_process("api")).app
read_apart()
settle()
