"""The protocol's messages as classes, with the types that messages.pyi says.

They live in a descriptor pool of their own: another library in the process may bring its own `inference` package,
as Triton's client does, and one pool does not take two of a name.
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClassesForFiles

_compiled = FileDescriptorSet.FromString(Path(__file__).with_name("open_inference.binpb").read_bytes()).file[0]
_pool = DescriptorPool()
_pool.Add(_compiled)
DESCRIPTOR = _pool.FindFileByName(_compiled.name)
_classes = GetMessageClassesForFiles([_compiled.name], _pool)

ModelInferRequest = _classes["inference.ModelInferRequest"]
ModelInferResponse = _classes["inference.ModelInferResponse"]
ModelMetadataRequest = _classes["inference.ModelMetadataRequest"]
ModelMetadataResponse = _classes["inference.ModelMetadataResponse"]
ModelReadyRequest = _classes["inference.ModelReadyRequest"]
ModelReadyResponse = _classes["inference.ModelReadyResponse"]
ModelStatisticsRequest = _classes["inference.ModelStatisticsRequest"]
ModelStatisticsResponse = _classes["inference.ModelStatisticsResponse"]
ModelStreamInferResponse = _classes["inference.ModelStreamInferResponse"]
RepositoryIndexRequest = _classes["inference.RepositoryIndexRequest"]
RepositoryIndexResponse = _classes["inference.RepositoryIndexResponse"]
ServerLiveRequest = _classes["inference.ServerLiveRequest"]
ServerLiveResponse = _classes["inference.ServerLiveResponse"]
ServerMetadataRequest = _classes["inference.ServerMetadataRequest"]
ServerMetadataResponse = _classes["inference.ServerMetadataResponse"]
ServerReadyRequest = _classes["inference.ServerReadyRequest"]
ServerReadyResponse = _classes["inference.ServerReadyResponse"]
