"""A small Django project that issues JSON Web Tokens with djangorestframework-simplejwt."""
