"""How a plan looks: pictures of plans and tasks as SVG."""
