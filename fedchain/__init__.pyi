from fedchain.adapters.datasets.own import Columns as Columns
from fedchain.adapters.datasets.own import make_partition as make_partition
from fedchain.adapters.datasets.own import read_csv as read_csv
from fedchain.adapters.datasets.own import read_policy as read_policy
from fedchain.adapters.datasets.own import sandbox as sandbox
from fedchain.adapters.datasets.own import split_arrays as split_arrays
from fedchain.adapters.datasets.partition import Partition as Partition
from fedchain.adapters.datasets.partitioners import dirichlet as dirichlet
from fedchain.adapters.datasets.partitioners import evenly as evenly
from fedchain.adapters.datasets.partitioners import shards as shards
from fedchain.adapters.datasets.population import Roll as Roll
from fedchain.adapters.datasets.population import make_population as make_population
from fedchain.api import Federated as Federated
from fedchain.api import federate as federate
from fedchain.core.policy import DataPolicy as DataPolicy

__version__: str
