"""`cis.v1.ExperimentService`: randomised experiments over leads."""

from __future__ import annotations

import grpc

from cis_client.v1 import experiment_service_pb2 as messages
from cis_client.v1 import experiment_service_pb2_grpc as service
from cis_server.rpc.messages.experiments import (
    experiment_message,
    standing_message,
    wanted_experiment,
)
from cis_server.serving.experiments import Experimenter


class ExperimentService(service.ExperimentServiceServicer):
    """Creates, assigns, shows and ends experiments.

    Args:
        experimenter: does it.
    """

    def __init__(self, experimenter: Experimenter) -> None:
        self._experimenter = experimenter

    def CreateExperiment(  # noqa: N802
        self, request: messages.CreateExperimentRequest, _context: grpc.ServicerContext
    ) -> messages.CreateExperimentResponse:
        """Plan an experiment and begin it."""
        created = self._experimenter.create(request.client_id, wanted_experiment(request))
        return messages.CreateExperimentResponse(experiment=experiment_message(created))

    def AssignVariant(  # noqa: N802
        self, request: messages.AssignVariantRequest, _context: grpc.ServicerContext
    ) -> messages.AssignVariantResponse:
        """The variants of leads, recorded before they are told."""
        assigned = self._experimenter.assign(
            request.client_id, request.experiment_id, list(request.lead_ids)
        )
        return messages.AssignVariantResponse(
            assignments=[
                messages.VariantAssignment(lead_id=lead, variant=variant, propensity=propensity)
                for lead, variant, propensity in assigned
            ]
        )

    def GetExperiment(  # noqa: N802
        self, request: messages.GetExperimentRequest, _context: grpc.ServicerContext
    ) -> messages.GetExperimentResponse:
        """An experiment and how it does."""
        stored, standing = self._experimenter.get(request.client_id, request.experiment_id)
        return messages.GetExperimentResponse(
            experiment=experiment_message(stored), result=standing_message(standing)
        )

    def EndExperiment(  # noqa: N802
        self, request: messages.EndExperimentRequest, _context: grpc.ServicerContext
    ) -> messages.EndExperimentResponse:
        """End an experiment for good, or call it off."""
        ended, standing = self._experimenter.end(
            request.client_id, request.experiment_id, request.approver, cancel=request.cancel
        )
        return messages.EndExperimentResponse(
            experiment=experiment_message(ended), result=standing_message(standing)
        )
