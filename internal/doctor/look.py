"""Says as JSON how the class in AIRLOCK_DOCTOR_CLASS imports here, and what it comes with. It makes no instance."""
import importlib
import importlib.metadata as metadata
import inspect
import json
import os
import sys

path = os.environ["AIRLOCK_DOCTOR_CLASS"]
found = {"python": sys.version.split()[0], "executable": sys.executable, "versions": {}, "kwargs": [], "source": []}
for name in ("apache-airflow", "apache-airflow-core", "apache-airflow-providers-microsoft-azure", "airlock-airflow"):
    try:
        found["versions"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
module_name, _, class_name = path.rpartition(".")
try:
    module = importlib.import_module(module_name)
    backend = getattr(module, class_name)
    found["kwargs"] = [name for name in inspect.signature(backend.__init__).parameters if name != "self"]
    text = inspect.getsource(module)
    found["source"] = [word for word in ("TEAM_SEP", "multi_team") if word in text]
except ModuleNotFoundError as err:
    found["missing"] = err.name
except AttributeError:
    found["missing"] = path
except BaseException as err:  # whatever an import does, it is reported and not raised
    found["failed"] = type(err).__name__
sys.stdout.write("\nAIRLOCK-DOCTOR:" + json.dumps(found) + "\n")
