"""The twin's one table, through the SQLAlchemy ORM."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import DateTime, Engine, Text, Uuid, create_engine, func, make_url
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from benchmarks.plain.settings import POOL_SIZE


class Row(DeclarativeBase):
    """Base of the mapped class."""


class Job(Row):
    """One case: its input, its state and, once scored, its result."""

    __tablename__ = "job"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    model: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default="queued")
    input: Mapped[dict[str, Any]] = mapped_column(JSONB)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def engine_for(database_url: str) -> Engine:
    """A pooled engine with psycopg 3."""
    return create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"), pool_size=POOL_SIZE, max_overflow=0
    )


def sessions_for(engine: Engine) -> sessionmaker[Session]:
    """Sessions that do not read a row again after its commit."""
    return sessionmaker(engine, expire_on_commit=False)
