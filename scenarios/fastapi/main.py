"""What does the token server of the FastAPI tutorial do? The same design, written anew: a password form in, a PyJWT token with `sub` and `exp` out.

    LESSON_SECRET          the HMAC secret (default: a published development value, loopback only)
    LESSON_ACCESS_SECONDS  lifetime of an access token (default 1800, as in the tutorial)

Start it with `uvicorn main:app --host 127.0.0.1 --port 8000`.
"""

import os
import time
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pwdlib import PasswordHash
from pydantic import BaseModel

SECRET = os.environ.get("LESSON_SECRET", "development-only-c2f9a86e04d14f3db7715a60e93b8c1d")
ALGORITHM = "HS256"
LIFETIME = int(os.environ.get("LESSON_ACCESS_SECONDS", "1800"))

hasher = PasswordHash.recommended()
# Checked when the user is unknown, so that both refusals take as long.
NOBODY = hasher.hash("nobody has this password")
USERS = {
    "alice": {"hash": hasher.hash("correct-horse-9"), "disabled": False},
    "bob": {"hash": hasher.hash("correct-horse-9"), "disabled": False},
}

app = FastAPI()
bearer = OAuth2PasswordBearer(tokenUrl="token")


class Token(BaseModel):
    access_token: str
    token_type: str


class User(BaseModel):
    username: str
    disabled: bool = False


def refused(detail):
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail=detail, headers={"WWW-Authenticate": "Bearer"})


@app.post("/token")
def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    user = USERS.get(form.username)
    right = hasher.verify(form.password, user["hash"] if user else NOBODY)
    if not user or not right:
        raise refused("Incorrect username or password")
    claims = {"sub": form.username, "exp": int(time.time()) + LIFETIME}
    return Token(access_token=jwt.encode(claims, SECRET, algorithm=ALGORITHM), token_type="bearer")


def caller(token: Annotated[str, Depends(bearer)]) -> User:
    try:
        name = jwt.decode(token, SECRET, algorithms=[ALGORITHM]).get("sub")
    except jwt.InvalidTokenError:
        raise refused("Could not validate credentials") from None
    user = USERS.get(name)
    if user is None:
        raise refused("Could not validate credentials")
    if user["disabled"]:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, detail="Inactive user")
    return User(username=name, disabled=user["disabled"])


@app.get("/users/me")
def me(user: Annotated[User, Depends(caller)]) -> User:
    return user


@app.get("/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}
