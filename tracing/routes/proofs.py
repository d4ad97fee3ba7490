"""Proofs: one scan's signature verified again from the kept request."""

from typing import Final

from litestar import Response, get
from litestar.params import FromPath

from events import problems
from tracing.access import Permission
from tracing.audit import Action, purpose_of
from tracing.decoding import PURPOSE_HEADER, purpose_text
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply
from tracing.proof import Proof

PROVE: Final = Operation(
    name="prove_scan",
    tag="Proofs",
    summary="Prove a scan from its device's signature",
    text=(
        "Opens the request that carried the scan, verifies the signature again, and compares what was signed with the"
        " log. `signature_base`, `signature` and `public_key` let anybody repeat the verification. A look at a person:"
        " recorded in the audit log with its purpose."
    ),
    permission=Permission.PROOFS_READ,
    person=True,
    successes=(Success(200, "The scan and the verdict on it", Proof),),
    problems=(problems.NOT_FOUND,),
)


@get("/v1/proofs/{device_id:str}/{seq:int}", opt={OPERATION: PROVE}, sync_to_thread=True)
def prove_scan(request: Asked, device_id: FromPath[str], seq: FromPath[int], parts: Given) -> Response[bytes]:
    """The proof, after the look at it is recorded."""
    purpose = purpose_of(purpose_text(request.headers.get(PURPOSE_HEADER)))
    proof = parts.prover.prove(device_id, seq, parts.clock())
    name, people = f"{proof.device}/{proof.seq}", [proof.scan.subject]
    parts.audit.write(parts.clock(), request.auth, Action.PROOF_READ, name, purpose, people=people)
    return reply(proof)


ROUTES: Final = (prove_scan,)
