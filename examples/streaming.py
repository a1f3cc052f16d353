"""Stream each proposal when its layer is complete, and the final answer token by token."""

import asyncio

from moa_graph import create_moa

TEXT = """When does the library close?

The library opens at nine. It closes at six, on Fridays at eight. The café closes at five."""

layer = ["offline:bm25", "offline:textrank", "offline:centroid"]
moa = create_moa([layer] * 2, aggregator="offline:consensus").compile(name="moa")


async def main() -> None:
    async for mode, event in moa.astream({"messages": TEXT}, stream_mode=["updates", "messages"]):
        if mode == "messages":
            print(event[0].text, end="", flush=True)
        else:
            for node, update in event.items():
                for proposal in update.get("proposals", {}).values():
                    print(f"{node}: {proposal['content']}")
    print()


if __name__ == "__main__":
    asyncio.run(main())
