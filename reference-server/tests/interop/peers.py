"""Do Python's libraries and the reference server understand each other? Reads the servers from stdin, prints one line per peer."""

import json
import os
import sys

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session as Authlib
from django.conf import settings
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from oauthlib.oauth2 import LegacyApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as RequestsOauthlib

USER = {"username": "alice", "password": "correct-horse-9"}
http = requests.Session()
http.trust_env = False


def post(server, path, body, status=200):
    reply = http.post(server["url"] + path, json=body, timeout=30)
    assert reply.status_code == status, (server["alg"], path, reply.status_code, reply.text)
    return reply.json()


def get(server, path, token, status=200):
    reply = http.get(server["url"] + path, headers={"Authorization": "Bearer " + token}, timeout=30)
    assert reply.status_code == status, (server["alg"], path, reply.status_code, reply.text)
    return reply.json()


def keys(server):
    """What signs and what verifies, as files."""
    if server["alg"].startswith("HS"):
        secret = open(server["private"], "rb").read()
        return secret, secret
    return open(server["private"], "rb").read(), open(server["public"], "rb").read()


def pyjwt(server):
    alg = server["alg"]
    private, public = keys(server)
    pair = post(server, "/api/token/", USER)
    need = {"require": ["exp", "iat", "sub", "jti"]}
    read = {name: jwt.decode(pair[name], public, algorithms=[alg], options=need) for name in pair}
    if not alg.startswith("HS"):
        published = jwt.PyJWKClient(server["url"] + "/.well-known/jwks.json").get_signing_key_from_jwt(pair["access"])
        assert jwt.decode(pair["access"], published.key, algorithms=[alg]) == read["access"]
    # The same sessions, in tokens that they signed.
    kid = {"kid": jwt.get_unverified_header(pair["access"])["kid"]}
    theirs = {name: jwt.encode({**claims, "peer": "PyJWT"}, private, alg, kid) for name, claims in read.items()}
    assert get(server, "/hello/", theirs["access"])["user"] == "alice"
    post(server, "/api/token/verify/", {"token": theirs["access"]})
    post(server, "/api/token/refresh/", {"refresh": theirs["refresh"]})
    # Used up, in whosever spelling.
    post(server, "/api/token/refresh/", {"refresh": pair["refresh"]}, 401)
    head, body, signature = theirs["access"].split(".")
    get(server, "/hello/", ".".join([head, body, ("B" if signature[0] == "A" else "A") + signature[1:]]), 401)


def simplejwt(server):
    """The flow of SimpleJWT's documentation, with its own classes on the other side."""
    from rest_framework_simplejwt.exceptions import TokenError
    from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

    pair = post(server, "/api/token/", USER)
    access, refresh = AccessToken(pair["access"]), RefreshToken(pair["refresh"])
    assert access["user_id"] == refresh["user_id"] and access["token_type"] == "access"
    try:
        AccessToken(pair["refresh"])
        raise AssertionError("a refresh token passed for an access token")
    except TokenError:
        pass
    access["peer"] = refresh["peer"] = "SimpleJWT"
    assert get(server, "/hello/", str(access))["user"] == "alice"
    post(server, "/api/token/verify/", {"token": str(access)})
    following = post(server, "/api/token/refresh/", {"refresh": str(refresh)})
    assert RefreshToken(following["refresh"])["jti"] != refresh["jti"]
    refused = post(server, "/api/token/refresh/", {"refresh": pair["refresh"]}, 401)
    assert refused["code"] == "token_not_valid", refused
    other = post(server, "/api/token/", USER)
    post(server, "/api/token/blacklist/", {"refresh": other["refresh"]})
    post(server, "/api/token/refresh/", {"refresh": other["refresh"]}, 401)
    wrong = post(server, "/api/token/", {**USER, "password": "wrong"}, 401)
    assert wrong["detail"].startswith("No active account"), wrong


def authlib(server):
    found = http.get(server["url"] + "/.well-known/openid-configuration", timeout=30).json()
    assert found["issuer"] == server["url"], found
    for method in ["client_secret_basic", "client_secret_post"]:
        client = Authlib("assay", "assay-secret", token_endpoint_auth_method=method, scope="openid profile read")
        client.trust_env = False
        token = client.fetch_token(found["token_endpoint"], grant_type="password", **USER)
        key_set = KeySet.import_key_set(http.get(found["jwks_uri"], timeout=30).json())
        claims = joserfc_jwt.decode(token["id_token"], key_set, algorithms=[server["alg"]]).claims
        assert claims["iss"] == found["issuer"] and "assay" in claims["aud"], claims
        assert client.get(found["userinfo_endpoint"]).json()["sub"] == claims["sub"]
        following = client.refresh_token(found["token_endpoint"], refresh_token=token["refresh_token"])
        assert following["access_token"] != token["access_token"]
        told = client.introspect_token(found["introspection_endpoint"], token=following["access_token"]).json()
        assert told["active"] is True and told["username"] == "alice", told
        gone = client.revoke_token(
            found["revocation_endpoint"], token=following["refresh_token"], token_type_hint="refresh_token"
        )
        assert gone.status_code == 200
        told = client.introspect_token(found["introspection_endpoint"], token=following["access_token"]).json()
        assert told == {"active": False}, told
    own = Authlib("assay", "assay-secret", scope="read")
    own.trust_env = False
    own.fetch_token(found["token_endpoint"], grant_type="client_credentials")
    assert own.get(server["url"] + "/hello/").status_code == 200
    public = Authlib("assay-public", token_endpoint_auth_method="none", scope="read")
    public.trust_env = False
    token = public.fetch_token(found["token_endpoint"], grant_type="password", **USER)
    assert public.refresh_token(found["token_endpoint"], refresh_token=token["refresh_token"])["access_token"]
    try:
        public.refresh_token(found["token_endpoint"], refresh_token=token["refresh_token"])
        raise AssertionError("a refresh token passed twice")
    except Exception as error:
        assert getattr(error, "error", None) == "invalid_grant", error


def requests_oauthlib(server):
    client = RequestsOauthlib(client=LegacyApplicationClient(client_id="assay", scope=["read"]))
    client.trust_env = False
    at = server["url"] + "/oauth/token"
    token = client.fetch_token(at, client_secret="assay-secret", **USER)
    assert client.get(server["url"] + "/hello/").json()["user"] == "alice"
    following = client.refresh_token(at, refresh_token=token["refresh_token"], auth=HTTPBasicAuth("assay", "assay-secret"))
    assert following["access_token"] != token["access_token"]
    assert client.get(server["url"] + "/hello/").status_code == 200


def main():
    servers = {server["alg"]: server for server in json.load(sys.stdin)["servers"]}
    for server in servers.values():
        pyjwt(server)
        print("PyJWT", server["alg"])
    hmac = servers["HS256"]
    # One algorithm for a process: that is how Django is configured.
    settings.configure(
        SECRET_KEY="unused-unused-unused-unused-unused-unused",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework_simplejwt"],
        SIMPLE_JWT={"ALGORITHM": "HS256", "SIGNING_KEY": keys(hmac)[0].decode()},
    )
    import django

    django.setup()
    simplejwt(hmac)
    print("SimpleJWT HS256")
    for alg in ["ES256", "RS256"]:
        authlib(servers[alg])
        print("Authlib", alg)
        requests_oauthlib(servers[alg])
        print("requests-oauthlib", alg)


main()
