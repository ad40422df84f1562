"""What cloud-init makes of the user-data in a directory: `read-seed.py DIR` merges its parts, checks the result against
the schema and prints it as JSON.

PYTHONPATH leads to the cloud-init of the Debian guest (target/debian/cloud-init), which need not be installed for this.
"""
import json
import os
import sys
import tempfile

from cloudinit import handlers, helpers, user_data, util
from cloudinit.config import schema
from cloudinit.handlers.cloud_config import CloudConfigPartHandler


def merged(text, scratch):
    os.makedirs(os.path.join(scratch, "instance"))
    paths = helpers.Paths({"cloud_dir": scratch, "run_dir": scratch, "templates_dir": scratch})
    handler = CloudConfigPartHandler(paths)
    handler.handle_part(None, handlers.CONTENT_START, None, None, None, None)
    for part in user_data.UserDataProcessor(paths).process(text).walk():
        kind = part.get_content_type()
        if kind == "text/cloud-config":
            payload = util.decode_binary(util.fully_decoded_payload(part))
            handler.handle_part(None, kind, part.get_filename(), payload, None, part)
        elif not part.is_multipart():
            print(f"not a cloud-config: {kind}", file=sys.stderr)
    return dict(handler.cloud_buf or {})


with open(os.path.join(sys.argv[1], "user-data"), "rb") as file, tempfile.TemporaryDirectory() as scratch:
    config = merged(file.read(), scratch)
try:
    schema.validate_cloudconfig_schema(config, schema=schema.get_schema(), strict=True)
except schema.SchemaValidationError as error:
    sys.exit(str(error))
json.dump(config, sys.stdout)
