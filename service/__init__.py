"""The application: rules, persistence and HTTP. Flask lives only in app, wsgi and api."""
