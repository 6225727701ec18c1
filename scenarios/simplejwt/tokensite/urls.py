"""Which address answers what?"""

from django.conf import settings
from django.urls import path
from rest_framework_simplejwt.views import (
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
    TokenVerifyView,
)

from tokensite import hooks, views

urlpatterns = [
    path("", views.index),
    path("ready/", views.ready),
    path("hello/", views.Hello.as_view()),
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/token/verify/", TokenVerifyView.as_view()),
    path("api/token/blacklist/", TokenBlacklistView.as_view()),
]
if settings.HOOKS:
    urlpatterns.append(path("-/hooks/<slug:name>/", hooks.hook))
