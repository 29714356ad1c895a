"""StyleFlow: its solver against scipy's, its log density against the Jacobian, its parameters against the official layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from invbench.api import Edit, InvbenchError
from invbench.methods.convert.styleflow import directions
from invbench.methods.directions.styleflow import FlowDirections, fit_reading
from invbench.methods.nets.styleflow import Flow, MovingBatchNorm, ODENet, dopri5
from invbench.methods.train.common import seeded
from invbench.methods.train.styleflow import likelihood, through
from tests.weights import official

DIM, CONDITIONS = 4, 3


def made(*, spread: float = 1.0) -> Flow:
    """A small flow whose every part does something."""
    with seeded(0):
        flow = Flow(DIM, [6, 6], CONDITIONS)
        for part in (flow.chain[0], flow.chain[2]):
            part.weight.data.normal_(0, 0.3)
            part.bias.data.normal_()
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
        for parameter in flow.chain[1].odefunc.parameters():
            parameter.data.mul_(spread)
    return flow.double().requires_grad_(False)


def drawn(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.7), (0.7, 0.0)])
def test_the_solver_agrees_with_scipy(start, end):
    x, c = drawn(3, DIM), drawn(3, CONDITIONS, seed=2)
    equation = made(spread=3.0).chain[1]
    found = dopri5(equation.rate(c), x, start, end)
    for sample in range(3):

        def rate(t, y, own=c[sample : sample + 1]):
            moved = equation.rate(own)(torch.tensor([t], dtype=torch.float64), torch.from_numpy(y)[None])
            return moved[0].numpy()

        exact = solve_ivp(rate, (start, end), x[sample].numpy(), method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
        np.testing.assert_allclose(found[sample], exact, rtol=2e-4, atol=2e-4)


def test_a_latent_does_not_depend_on_its_neighbours():
    flow, x, c = made(spread=3.0), drawn(5, DIM), drawn(5, CONDITIONS, seed=2)
    x[3] *= 40  # one that needs other steps
    whole = flow(x, c)
    for sample in range(5):
        alone = flow(x[sample : sample + 1], c[sample : sample + 1])[0]
        torch.testing.assert_close(alone, whole[sample], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flow(whole, c, reverse=True), x, rtol=1e-3, atol=1e-3)


def test_the_solver_says_when_it_does_not_arrive():
    with pytest.raises(InvbenchError, match="expected its equation to be solved within 20 steps"):
        dopri5(lambda t, x: x * float("nan"), torch.ones(1, 2), 0.0, 1.0, most=20)


def test_the_equation_is_that_of_the_published_network():
    """(W x + b) * sigmoid(G q + g) + H q with q = [t, c], tanh after all layers but the last; batch norm with log weights."""
    with seeded(3):
        net, norm = ODENet(DIM, [5], CONDITIONS), MovingBatchNorm(DIM)
    norm.running_var.fill_(2.0)
    norm.weight.data.fill_(0.5)
    x, c, t = drawn(2, DIM).float(), drawn(2, CONDITIONS).float(), torch.tensor([0.1, 0.4])
    state = {key: value.numpy().astype(np.float64) for key, value in net.state_dict().items()}
    q, y = np.concatenate([t.numpy()[:, None], c.numpy()], 1), x.numpy().astype(np.float64)
    for index in range(2):
        part = {key.split(".", 2)[2]: value for key, value in state.items() if key.startswith(f"layers.{index}.")}
        gate = 1 / (1 + np.exp(-(q @ part["_hyper_gate.weight"].T + part["_hyper_gate.bias"])))
        y = (y @ part["_layer.weight"].T + part["_layer.bias"]) * gate + q @ part["_hyper_bias.weight"].T
        y = np.tanh(y) if index == 0 else y
    np.testing.assert_allclose(net(t, x, c).detach().numpy(), y, atol=1e-5)
    expected = x.numpy() / np.sqrt(2 + 1e-4) * np.exp(0.5)
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-5)
    torch.testing.assert_close(norm(norm(x), reverse=True), x)


def test_the_log_determinant_is_that_of_the_jacobian():
    flow, x, c = made(), drawn(2, DIM), drawn(2, CONDITIONS, seed=2)
    traces = []
    base = through(flow, x, c, torch.zeros_like(x))[1]  # of the batch norms alone
    for axis in range(DIM):
        probe = torch.zeros_like(x)
        probe[:, axis] = 1
        traces.append(through(flow, x, c, probe)[1] - base)
    found = base + sum(traces)
    for sample in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda w, i=sample: flow(w[None], c[i : i + 1])[0], x[sample])
        assert float(found[sample]) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=5e-3)
    torch.testing.assert_close(through(flow, x, c, probe)[0], flow(x, c), rtol=1e-3, atol=1e-3)


def test_the_likelihood_is_that_of_a_normal_distribution():
    z = drawn(5, DIM)
    exact = -torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    assert float(likelihood(z, torch.full((5,), 0.25))) == pytest.approx(float(exact.mean()) - 0.25)


def test_conditions_are_read_by_ridge_regression():
    latents, weights = drawn(500, DIM), drawn(DIM, CONDITIONS, seed=5)
    reading = torch.nn.Linear(DIM, CONDITIONS)
    fit_reading(reading, latents.float(), (latents @ weights + 2).float(), ridge=1e-3)
    np.testing.assert_allclose(reading.weight.detach().numpy(), weights.T, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(reading.bias.detach().numpy(), 2, atol=0.02)


def test_an_edit_moves_some_layers_and_strength_0_none():
    network = FlowDirections(names=["age", "yaw"], columns=[2, 0], num_ws=3, dim=DIM, hidden=[6, 6], conditions=CONDITIONS)
    network.flow = made().float()
    network.layers[0] = torch.tensor([0.0, 1.0, 1.0])
    network.steps[0], network.gains[0] = 0.2, 1.5
    latents = drawn(2, 3, DIM).float()
    with torch.no_grad():
        moved = network.move(latents, Edit("age", 2.0))
        assert network.move(latents, Edit("age", 0.0)) is latents
        conditions = network.reading(latents.mean(1))
        asked = conditions + torch.tensor([0.0, 0.0, 0.6])
        expected = network.flow(network.flow(latents[:, 1], conditions), asked, reverse=True)
    torch.testing.assert_close(moved[:, 1], expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(moved[:, 0], latents[:, 0]) and not torch.equal(moved[:, 2], latents[:, 2])
    with pytest.raises(InvbenchError, match="edit 'hair': this flow has conditions for age, yaw"):
        network.move(latents, Edit("hair", 1.0))


def test_the_parameters_are_those_of_the_official_file():
    content = official.bare("styleflow_layout", "flow", fill=official.drawn)
    state = Flow(512, (512,) * 5, 17).state_dict()
    assert list(state) == list(content) and len(state) == 42
    assert [tuple(value.shape) for value in state.values()] == [tuple(value.shape) for value in content.values()]


def published(count: int = 40, num_ws: int = 18):
    """A flow of the official layout with tame weights, and data beside it whose conditions are linear in the latents."""
    content = official.bare("styleflow_layout", "flow", fill=official.drawn)
    content = {key: value * (0.2 if "odefunc.diffeq" in key else 1) for key, value in content.items()}
    latents = drawn(count, 1, 512).float().expand(-1, num_ws, -1)
    conditions = latents[:, 0] @ drawn(512, 17, seed=4).float() / 10
    return content, latents, conditions[:, 9:].reshape(count, 8, 1), conditions[:, :9].reshape(count, 1, 9, 1, 1)


@torch.no_grad()
def test_the_official_flow_edits_the_published_layers():
    content, latents, attributes, light = published()
    steps = {"age": 5.0, "smile": 0.5}
    network, config = directions(content, source="m.pt", latents=latents, attributes=attributes, light=light, edits=steps)
    assert config["columns"] == [15, 16] and config["hidden"] == [512] * 5 and config["conditions"] == 17
    for key, value in network.flow.state_dict().items():
        assert torch.equal(value, content[key]), key
    read = network.reading(latents[:, 0])
    wanted = torch.cat([light.reshape(-1, 9), attributes.reshape(-1, 8)], 1)
    assert float((read - wanted).square().mean() / wanted.square().mean()) < 0.05
    moved = network.move(latents[:2], Edit("age", 1.0))
    changed = (moved != latents[:2]).any(2).any(0)
    assert changed.nonzero().flatten().tolist() == [4, 5, 6, 7]
    read, more = read[:2], read[:2].clone()
    more[:, 15] += 5.0 * 0.93
    there = network.flow(network.flow(latents[:2, 5], read), more, reverse=True)
    torch.testing.assert_close(moved[:, 5], there, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.pop("chain.2.bias"), "missing: chain.2.bias"),
        (lambda c: c.update({"chain.0.weight": torch.zeros(3)}), "chain.0"),
        (lambda c: c.pop("chain.1.odefunc.diffeq.layers.0._hyper_gate.weight"), "expected a flow under 17 conditions"),
    ],
)
def test_flows_that_do_not_fit_are_told(change, told):
    content, latents, attributes, light = published()
    change(content)
    with pytest.raises(InvbenchError) as error:
        directions(content, source="m.pt", latents=latents, attributes=attributes, light=light, edits={"age": 1.0})
    assert told in str(error.value) and "m.pt" in str(error.value)


def test_data_and_edits_that_do_not_fit_are_told():
    content, latents, attributes, light = published()
    given = {"source": "m.pt", "latents": latents, "attributes": attributes, "light": light}
    with pytest.raises(InvbenchError, match="edit 'hat': expected one of gender, glasses"):
        directions(content, **given, edits={"hat": 1.0})
    with pytest.raises(InvbenchError, match=r"expected latents \[M, L, 512\], attributes \[M, 8\] and light \[M, 9\]"):
        directions(content, **given | {"light": light[1:]}, edits={"age": 1.0})
