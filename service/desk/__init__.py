"""The desk: submit jobs, wait for them, read, list and cancel them. What every front door calls; it knows no protocol."""

from service.desk.assembly import desk_over
from service.desk.desk import Desk
from service.desk.requests import JobRequest, JobSearch

__all__ = ["Desk", "JobRequest", "JobSearch", "desk_over"]
