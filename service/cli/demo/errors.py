"""What ends the demo early."""

from service.errors import ServiceError


class DemoFailed(ServiceError):
    """The service did not do what the demo expects of it."""

    code = "demo_failed"
