"""Prints, as JSON, what cloud-init makes of a user-data: the merged cloud-config, the kinds of all parts, and the users."""

import json
import logging
import sys
import tempfile

from cloudinit import handlers, helpers, user_data
from cloudinit.distros import fetch as distro_class
from cloudinit.distros import ug_util
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.settings import PER_ALWAYS

try:
    from cloudinit import safeyaml

    load = safeyaml.load
except (ImportError, AttributeError):
    from cloudinit import util

    load = util.load_yaml

warnings = []


class Kept(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())


class Source:
    """Where user-data comes from, as far as anybody asks it here."""

    def get_instance_id(self):
        return "instance"


logging.getLogger().addHandler(Kept(logging.WARNING))

with tempfile.TemporaryDirectory() as place, open(sys.argv[1], "rb") as source:
    paths = helpers.Paths({"cloud_dir": place, "run_dir": place}, ds=Source())
    message = user_data.UserDataProcessor(paths).process(source.read())
    merger = CloudConfigPartHandler(paths)
    merger.cloud_fn = place + "/merged"
    merger.handle_part(None, handlers.CONTENT_START, None, None, None, None)
    kinds = []
    for part in message.walk():
        if part.is_multipart():
            continue
        kind, payload = part.get_content_type(), part.get_payload(decode=True).decode()
        kinds.append([kind, payload])
        if kind == "text/cloud-config":
            merger.handle_part(None, kind, part.get_filename() or "?", payload, PER_ALWAYS, part)
    merger.handle_part(None, handlers.CONTENT_END, None, None, None, None)
    with open(merger.cloud_fn) as merged:
        config = load(merged.read())
    distro = distro_class("debian")("debian", {"default_user": {"name": "debian", "gecos": "Debian"}}, paths)
    users, _ = ug_util.normalize_users_groups(json.loads(json.dumps(config)), distro)
    json.dump({"config": config, "kinds": kinds, "users": users, "warnings": warnings}, sys.stdout)
