from homeostat.project.checks import column as column
from homeostat.project.checks import fresher_than as fresher_than
from homeostat.project.declare import dataset as dataset
from homeostat.project.declare import files as files
from homeostat.project.declare import model as model
from homeostat.project.declare import step as step
from homeostat.project.gates import champion as champion
from homeostat.project.gates import metric_at_least as metric_at_least
from homeostat.project.gates import metric_at_most as metric_at_most
from homeostat.project.gates import p99_under as p99_under
from homeostat.project.locate import connect as connect
from homeostat.project.register import deploy as deploy
from homeostat.project.register import predict as predict
from homeostat.project.register import register as register
from homeostat.project.responses import ask as ask
from homeostat.project.responses import automatic as automatic
from homeostat.project.responses import observe as observe
from homeostat.project.rollouts import canary as canary
from homeostat.project.rollouts import direct as direct
from homeostat.project.rollouts import shadow as shadow
from homeostat.project.tracking import log_metric as log_metric
from homeostat.project.tracking import log_param as log_param

__version__: str
__all__: list[str]
