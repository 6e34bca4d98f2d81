"""The plain twin: what people write today for the same service, with the settings that careful people choose.

Flask behind gunicorn, one Celery task a job on a prefork pool, one row a job through the SQLAlchemy ORM. It keeps
inputs and results in the clear, has no keys and writes no audit trail: what it leaves out is not held against us.
Nothing in it is slowed down; where two common settings were possible, it has the cheaper one.
"""
