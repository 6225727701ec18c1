"""Which address answers what?"""

from django.conf import settings
from django.urls import include, path
from oauth2_provider.urls import base_urlpatterns

from oauthsite import hooks, views

urlpatterns = [
    path("ready/", views.ready),
    path("hello/", views.Hello.as_view()),
    path("o/", include((base_urlpatterns, "oauth2_provider"))),
]
if settings.HOOKS:
    urlpatterns.append(path("-/hooks/<slug:name>/", hooks.hook))
