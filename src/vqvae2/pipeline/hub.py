"""Pipelines on the Hugging Face Hub: download and upload.

Only files of a pipeline are downloaded or replaced, by their names. `huggingface_hub` has settings for the server
(`HF_ENDPOINT`), the cache (`HF_HOME`) and the login. It is imported where it is used, since that takes long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vqvae2.errors import CheckpointError, ConfigError, HubError
from vqvae2.pipeline.config import BUILTIN, PipelineConfig, read_pipeline_config
from vqvae2.pipeline.folder import CARD_FILE, PIPELINE_FILES
from vqvae2.system.version import __version__

__all__ = [
    "BUILTIN",
    "BUILTIN_FOLDER",
    "check_repo_id",
    "find_pipeline_config",
    "find_pipeline_folder",
    "upload_pipeline",
]

BUILTIN_FOLDER = Path(__file__).parent.parent / "builtin"
"""Where that pipeline is, with a classifier that judges its samples."""
# One slash. No part begins with a dot or a dash, so neither "../name" nor an option can pass for an id.
_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
# Copied from a browser; a path has lost one of the two slashes.
_ADDRESS = re.compile(r"https?:/+huggingface\.co/([^/]+/[^/]+?)(?:/tree/([^/]+))?/?")
_ANSWERS = {
    401: "does not know this token; log in anew with `hf auth login`, or set HF_TOKEN",
    429: "is asked too often; wait a few minutes, or log in with `hf auth login`",
    403: "does not allow it to this token; take one that may write there, or a name of your own",
}


def find_pipeline_folder(source: Path | str, *, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Find the folder of a pipeline, and download it from the Hub if need be.

    Args:
        source: An existing folder, or else "builtin", the pipeline that comes with the package, or the id of a
            repository, "owner/name", or its address in a browser.
        revision: Branch, tag or commit; None takes the main branch.
        token: For the Hub; None takes the one that is logged in.

    Raises:
        CheckpointError: If there is no such folder, and it is no id.
        ConfigError: If a folder is given with a `revision`.
        HubError: If the Hub cannot be reached, refuses, or has no such repository.
    """
    folder = Path(source)
    if not folder.is_dir() and str(source) == BUILTIN:
        folder = BUILTIN_FOLDER
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(f"`revision` must be None, since {source} is a folder here, got {revision!r}")
        return folder
    repo_id = source if isinstance(source, str) else source.as_posix()
    if address := _ADDRESS.fullmatch(repo_id):
        repo_id, revision = address[1], revision or address[2]
    if not _REPO_ID.fullmatch(repo_id):
        raise CheckpointError(
            f"{source} is neither a folder nor an id of the Hub, 'owner/name'; give one of the two, or {BUILTIN}"
        )
    from huggingface_hub import snapshot_download

    with _as_hub_errors(f"{repo_id} is not a folder here, and", repo_id, revision):
        return Path(
            snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                allow_patterns=list(PIPELINE_FILES),
                library_name="vqvae2",
                library_version=__version__,
            )
        )


def find_pipeline_config(source: Path | str) -> PipelineConfig:
    """Read what a pipeline is for, without loading it; see `find_pipeline_folder` for its source and for errors."""
    return read_pipeline_config(find_pipeline_folder(source))


def check_repo_id(repo_id: str) -> None:
    """Refuse what is no id of a repository, "owner/name", by a `ConfigError`."""
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigError(f"`repo_id` must be the id of a repository, 'owner/name', got {repo_id!r}")


def upload_pipeline(folder: Path, repo_id: str, *, private: bool, token: str | bool | None, commit_message: str) -> str:
    """Upload what `write_pipeline_folder` wrote, in one commit, and return its address; see `Pipeline.push_to_hub`.

    Files of an earlier pipeline are replaced or removed; others stay.

    Raises:
        HubError: If the Hub cannot be reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token, library_name="vqvae2", library_version=__version__)
    names = [name for name in (*PIPELINE_FILES, CARD_FILE) if (folder / name).is_file()]
    with _as_hub_errors("", repo_id, None):
        api.create_repo(repo_id, private=private, exist_ok=True)
        stale = sorted(set(api.list_repo_files(repo_id)) & set(PIPELINE_FILES) - set(names))
        # Not `upload_folder`, which may make several commits: one of them alone would be a pipeline of mixed parts.
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names),
                *(CommitOperationDelete(path_in_repo=name) for name in stale),
            ],
            commit_message=commit_message,
        )
    return str(commit.commit_url)


@contextmanager
def _as_hub_errors(beginning: str, repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn whatever can go wrong on the way to the Hub and back into a `HubError` of one line."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError, of whichever client it works with
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        XetDownloadError,
    )

    def error(what: str) -> HubError:
        return HubError(f"{beginning} the Hub {what}".strip())

    try:
        yield
    except GatedRepoError as problem:
        raise error(f"gives {repo_id} only to those whom its owner lets in; ask for access on its page") from problem
    except RepositoryNotFoundError as problem:
        raise error(
            f"has no repository {repo_id} that you may see; check the id, or log in with `hf auth login` "
            "if it is private"
        ) from problem
    except RevisionNotFoundError as problem:
        raise error(f"has no revision {revision!r} of {repo_id}; give a branch, tag or commit of it") from problem
    except (HfHubHTTPError, LocalEntryNotFoundError, HTTPError, ConnectionError, TimeoutError) as problem:
        for answered in (problem, problem.__cause__):  # a download looks into the cache first, whatever the Hub answers
            if isinstance(answered, HfHubHTTPError):
                status = answered.response.status_code
                answer = _ANSWERS.get(status, f"answers with an error ({_first_line(answered)}); try again later")
                raise error(f"{answer} ({repo_id})" if status in _ANSWERS else answer) from problem
        raise error(
            f"cannot be reached, and {repo_id} is not in the cache; check the network, or give a folder"
        ) from problem
    except (XetDownloadError, OSError, RuntimeError, ValueError) as problem:
        raise error(
            f"could not be worked with for {repo_id} ({_first_line(problem.__cause__ or problem)}); try again"
        ) from problem


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]
