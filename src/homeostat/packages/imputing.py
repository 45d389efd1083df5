"""SimpleImputer as ONNX, in the number type of its input: Where(missing, what stands for it, x).

skl2onnx 1.20 writes one that runs in float32 only, does not know null text, and leaves out missing indicators without
a word. Handed to `convert_sklearn` as custom functions, so that nothing is registered for the whole process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.impute import SimpleImputer

from homeostat.packages.loader import NULL_TEXT
from homeostat.packages.trees import CannotWrite


def shape(operator: Any) -> None:
    """skl2onnx's shape calculator: as many columns as come in, of the same type."""
    imputer = operator.raw_operator
    if imputer.add_indicator:
        raise CannotWrite("SimpleImputer(add_indicator=True) has no form in ONNX here; use MissingIndicator beside it")
    kind = type(operator.inputs[0].type)
    if len(operator.inputs) > 1 or kind not in (FloatTensorType, DoubleTensorType, StringTensorType):
        raise CannotWrite("SimpleImputer over columns of several types")
    if any(value is None or value != value for value in imputer.statistics_):
        raise CannotWrite("SimpleImputer drops a column that was wholly missing at training")
    operator.outputs[0].type = kind([operator.inputs[0].get_first_dimension(), len(imputer.statistics_)])


def write(scope: Any, operator: Any, container: Any) -> None:
    """skl2onnx's converter."""
    imputer, source = operator.raw_operator, operator.inputs[0]
    text = isinstance(source.type, StringTensorType)
    kind = TensorProto.DOUBLE if isinstance(source.type, DoubleTensorType) else TensorProto.FLOAT
    kind = TensorProto.STRING if text else kind

    def constant(name: str, values: list[Any]) -> str:
        unique: str = scope.get_unique_variable_name(name)
        held = [v.encode() for v in values] if text else [float(v) for v in values]
        container.add_initializer(unique, kind, [1, len(held)], held)
        return unique

    missing = scope.get_unique_variable_name("missing")
    marker = imputer.missing_values
    if text:
        known = marker if isinstance(marker, str) else NULL_TEXT
        container.add_node("Equal", [source.full_name, constant("marker", [known])], [missing])
    elif marker is None or marker != marker:
        container.add_node("IsNaN", [source.full_name], [missing])
    else:
        container.add_node("Equal", [source.full_name, constant("marker", [marker])], [missing])
    filling = constant("filling", list(np.asarray(imputer.statistics_).tolist()))
    container.add_node("Where", [missing, filling, source.full_name], [operator.outputs[0].full_name])


SHAPES = {SimpleImputer: shape}
WRITERS = {SimpleImputer: write}
