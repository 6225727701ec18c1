"""A small Django project that is an OAuth 2 server and a resource at once, with django-oauth-toolkit."""
