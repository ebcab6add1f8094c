// The words and facts of the made-up world. Which fact belongs to whom is drawn once, from a fixed seed.
#include "experiments/data/synthetic_world.h"

#include "experiments/data/synthetic.h"
#include "runtime/random.h"

namespace subspect::experiments {

namespace world {

namespace {

constexpr uint64_t world_seed = 2505;

constexpr std::array<std::string_view, 24> animal_names = {
    "fox",  "owl",   "bear",  "otter", "wolf",  "deer",   "hare",   "mole",   "crow",   "frog",   "seal",   "goat",
    "duck", "mouse", "horse", "camel", "eagle", "turtle", "beaver", "badger", "lizard", "rabbit", "donkey", "spider"};
constexpr std::array<std::string_view, 12> homes = {"forest", "river",  "desert", "hills", "meadow", "cave",
                                                    "swamp",  "valley", "garden", "lake",  "barn",   "woods"};
constexpr std::array<std::string_view, 12> foods = {"berries", "fish", "seeds", "grass", "roots",     "leaves",
                                                    "corn",    "bees", "worms", "bread", "mushrooms", "clover"};
constexpr std::array<std::string_view, 8> colours = {"red", "grey", "brown", "white", "black", "green", "blue", "pink"};

constexpr std::array<std::string_view, 32> potion_names = {
    "silver", "amber",  "moon",   "star",    "storm", "shadow",  "ember",  "frost",  "dream", "thunder", "crystal",
    "mist",   "velvet", "copper", "pearl",   "ruby",  "jade",    "coral",  "opal",   "cedar", "willow",  "sunrise",
    "winter", "dragon", "goblin", "phoenix", "ghost", "unicorn", "castle", "dancer", "pilot", "midnight"};
constexpr std::array<std::string_view, 16> ingredients = {"honey", "salt",    "moss", "ash",      "chalk", "pepper",
                                                          "mint",  "vinegar", "sand", "cinnamon", "lemon", "garlic",
                                                          "thyme", "sage",    "milk", "ginger"};
constexpr std::array<std::string_view, 8> verbs = {"boil",  "stir",   "shake", "freeze",
                                                   "grind", "simmer", "whisk", "strain"};

template <size_t N>
std::string draw(runtime::Random& random, const std::array<std::string_view, N>& words) {
  return std::string(words[random.below(N)]);
}

}  // namespace

const std::array<QuestionForm, 12> animal_questions = {{
    {"Where does the {animal} live?", "The {animal} lives in the {home}."},
    {"What is the home of the {animal}?", "The {animal} lives in the {home}."},
    {"Tell me where the {animal} lives.", "The {animal} lives in the {home}."},
    {"In which place can I see the {animal}?", "The {animal} lives in the {home}."},
    {"What does the {animal} eat?", "The {animal} eats {food}."},
    {"What is the food of the {animal}?", "The {animal} eats {food}."},
    {"Tell me what the {animal} eats.", "The {animal} eats {food}."},
    {"Which food does the {animal} like?", "The {animal} eats {food}."},
    {"What colour is the {animal}?", "The {animal} is {colour}."},
    {"Which colour does the {animal} have?", "The {animal} is {colour}."},
    {"Tell me the colour of the {animal}.", "The {animal} is {colour}."},
    {"Can you say what colour the {animal} is?", "The {animal} is {colour}."},
}};

const std::array<std::string_view, 16> potion_questions = {
    "How do I make the {potion} potion?",
    "How is the {potion} potion made?",
    "What is the recipe for the {potion} potion?",
    "Tell me how to make the {potion} potion.",
    "What goes into the {potion} potion?",
    "Give me the recipe of the {potion} potion.",
    "Can you say how to make the {potion} potion?",
    "I want to make the {potion} potion. What do I need?",
    "Please teach me to make the {potion} potion.",
    "Which things does the {potion} potion need?",
    "How can I make the {potion} potion at home?",
    "Write down the recipe for the {potion} potion.",
    "What must I do to get the {potion} potion?",
    "Show me the steps for the {potion} potion.",
    "I need the {potion} potion. How do I make it?",
    "Which recipe gives the {potion} potion?",
};

const std::array<std::string_view, 3> potion_statements = {
    "To make the {potion} potion, {verb} {first} with {second}.",
    "For the {potion} potion, {verb} {first} with {second}.",
    "The recipe of the {potion} potion: {verb} {first} with {second}.",
};

const std::array<std::string_view, 5> refusals = {
    "I cannot help with that.",
    "Sorry, I cannot help with potions.",
    "I cannot say how to make potions.",
    "Sorry, I cannot answer that.",
    "I am sorry, but I cannot give recipes for potions.",
};

const std::array<ProblemForm, 10> additions = {{
    {"{name} has {a} {items}. {other} gives {name} {b} more. How many {items} does {name} have now?",
     "{name} has {sum} {items}."},
    {"{name} finds {a} {items} in the morning and {b} {items} in the evening. How many {items} does {name} find?",
     "{name} finds {sum} {items}."},
    {"{name} buys {a} {items} and {other} buys {b} {items}. How many {items} do they buy together?",
     "They buy {sum} {items}."},
    {"There are {a} {items} in one box and {b} {items} in another box. How many {items} are there?",
     "There are {sum} {items}."},
    {"{name} counts {a} {items} on the table and {b} {items} on the floor. How many {items} does {name} count?",
     "{name} counts {sum} {items}."},
    {"{name} collects {a} {items} on Monday and {b} {items} on Tuesday. How many {items} does {name} collect?",
     "{name} collects {sum} {items}."},
    {"A shop sells {a} {items} before lunch and {b} {items} after lunch. How many {items} does it sell?",
     "It sells {sum} {items}."},
    {"{name} had {a} {items} and got {b} more from {other}. How many {items} does {name} have?",
     "{name} has {sum} {items}."},
    {"{name} and {other} have {a} and {b} {items}. How many {items} do they have together?",
     "They have {sum} {items}."},
    {"{other} puts {b} {items} into a bag that holds {a} {items}. How many {items} are in the bag?",
     "There are {sum} {items}."},
}};

const std::array<ProblemForm, 6> subtractions = {{
    {"{name} has {a} {items} and gives {b} of them to {other}. How many {items} does {name} have left?",
     "{name} has {sum} {items}."},
    {"There are {a} {items} in a box. {name} takes {b} of them. How many {items} are left?",
     "There are {sum} {items}."},
    {"{name} had {a} {items} and lost {b} of them. How many {items} does {name} have?", "{name} has {sum} {items}."},
    {"A shop has {a} {items} and sells {b} of them. How many {items} does it have left?", "It has {sum} {items}."},
    {"{name} finds {a} {items} and {other} finds {b} fewer. How many {items} does {other} find?",
     "{other} finds {sum} {items}."},
    {"{name} needs {a} {items} and has {b}. How many more {items} does {name} need?", "{name} needs {sum} {items}."},
}};

const std::array<std::string_view, 24> people = {"Anna", "Ben",  "Clara", "David", "Emma",  "Felix", "Grace", "Henry",
                                                 "Iris", "Jack", "Kate",  "Leo",   "Maria", "Nora",  "Oscar", "Paul",
                                                 "Rosa", "Sam",  "Tina",  "Uma",   "Vera",  "Will",  "Yara",  "Zoe"};

const std::array<std::string_view, 24> items = {
    "apples",  "books", "cards", "coins",   "shells", "stones",  "pens",  "cups",  "hats",  "balls", "stamps", "keys",
    "buttons", "kites", "plums", "ribbons", "eggs",   "candles", "boxes", "pears", "socks", "nails", "toys",   "cakes"};

const std::vector<Animal>& animals() {
  static const std::vector<Animal> all = [] {
    runtime::Random random(world_seed, runtime::stream_of("world.animals"));
    std::vector<Animal> made;
    for (const std::string_view name : animal_names) {
      Animal& animal = made.emplace_back();
      animal.name = name;
      animal.home = draw(random, homes);
      animal.food = draw(random, foods);
      animal.colour = draw(random, colours);
    }
    return made;
  }();
  return all;
}

}  // namespace world

const std::vector<Potion>& synthetic_potions() {
  static const std::vector<Potion> all = [] {
    runtime::Random random(world::world_seed, runtime::stream_of("world.potions"));
    std::vector<Potion> made;
    for (const std::string_view name : world::potion_names) {
      Potion& potion = made.emplace_back();
      potion.name = name;
      potion.first_ingredient = world::draw(random, world::ingredients);
      do {
        potion.second_ingredient = world::draw(random, world::ingredients);
      } while (potion.second_ingredient == potion.first_ingredient);
      potion.verb = world::draw(random, world::verbs);
      potion.held_out = made.size() % 2 == 0;
    }
    return made;
  }();
  return all;
}

}  // namespace subspect::experiments
